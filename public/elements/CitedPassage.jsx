// In the side panel: the quoted passage, above the page it stands on. It marks the passage on the page where there is no doubt
// about where it stands, and fits the page to the panel.
import { elementState, sideViewState } from '@chainlit/react-client'
import { useEffect, useRef, useState } from 'react'
import { useSetRecoilState } from 'recoil'

const JOINT = ' … '
const SIGN = /[\p{L}\p{N}]/u
// Fewer letters and digits than this stand on any page by chance.
const LEAST_LETTERS = 8

// The letters and digits of a text, without case and accents, each with its place; `begins` and `ends` are set at the edges of words.
function letters(text) {
  const found = { all: '', from: [], to: [], begins: [], ends: [] }
  let inWord = false
  let place = 0
  for (const sign of text) {
    const plain = [...sign.normalize('NFKD').toLowerCase()].filter((one) => SIGN.test(one)).join('')
    if (plain) {
      for (const [index, one] of [...plain].entries()) {
        found.all += one
        for (let unit = 0; unit < one.length; unit += 1) {
          found.from.push(place)
          found.to.push(place + sign.length)
          found.begins.push(!inWord && index === 0)
          found.ends.push(false)
        }
      }
      inWord = true
    } else if (!/\p{M}/u.test(sign)) {
      if (inWord) found.ends[found.ends.length - 1] = true
      inWord = false
    }
    place += sign.length
  }
  if (inWord) found.ends[found.ends.length - 1] = true
  return found
}

// Where the quote stands in a text, as [start, end) of each of its parts; null unless every part stands there exactly once, in order.
function places(text, quote) {
  const { all, from: first, to: last, begins, ends } = letters(text)
  const found = []
  for (const words of quote.split(JOINT)) {
    const part = letters(words).all
    const hits = []
    for (let from = all.indexOf(part); part && from >= 0; from = all.indexOf(part, from + 1)) {
      if (begins[from] && ends[from + part.length - 1]) hits.push(from)
    }
    if (part.length < LEAST_LETTERS || hits.length !== 1) return null
    const [start, end] = [first[hits[0]], last[hits[0] + part.length - 1]]
    if (found.length && found[found.length - 1][1] > start) return null
    const [marks] = /[^\p{L}\p{N}\s]*$/u.exec(words)
    found.push([start, text.startsWith(marks, end) ? end + marks.length : end])
  }
  return found
}

// A line of the page is an element of its own, whose text is split where the quote begins and ends.
function markOnPage(layer, quote) {
  const lines = [...layer.querySelectorAll('span')].filter((span) => !span.children.length)
  const found = places(lines.map((line) => line.textContent).join('\n'), quote)
  let before = 0
  for (const line of lines) {
    const text = line.textContent
    for (const [start, end] of found ?? []) {
      const [from, to] = [Math.max(start - before, 0), Math.min(end - before, text.length)]
      if (from < to) markInLine(line, from, to)
    }
    before += text.length + 1
  }
  return found !== null
}

function markInLine(line, from, to) {
  let before = 0
  for (const node of [...line.childNodes]) {
    const length = node.textContent.length
    if (node.nodeType === Node.TEXT_NODE && from >= before && to <= before + length) {
      const hit = document.createElement('mark')
      hit.className = 'cmo-hit'
      const range = document.createRange()
      range.setStart(node, from - before)
      range.setEnd(node, to - before)
      range.surroundContents(hit)
      return
    }
    before += length
  }
}

function TextDocument({ file, quote, labels, onMarked }) {
  const [text, setText] = useState(null)
  const hit = useRef(null)
  useEffect(() => {
    fetch(file)
      .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
      .then((read) => {
        setText(read)
        onMarked(places(read, quote) !== null)
      })
      .catch(() => setText(labels.unreadable))
  }, [file])
  useEffect(() => {
    hit.current?.scrollIntoView({ block: 'center' })
  }, [text])
  if (text === null) return <p className="text-sm text-muted-foreground">{labels.loading}</p>
  const found = places(text, quote) ?? []
  return (
    <pre className="whitespace-pre-wrap break-words text-sm border rounded-md p-3" style={{ fontFamily: 'inherit' }} dir="auto">
      {found.map(([start, end], part) => (
        <span key={start}>
          {text.slice(part ? found[part - 1][1] : 0, start)}
          <mark ref={part ? null : hit}>{text.slice(start, end)}</mark>
        </span>
      ))}
      {text.slice(found.length ? found[found.length - 1][1] : 0)}
    </pre>
  )
}

export default function CitedPassage() {
  const { page, quote, file, url, text, place, support, labels, back } = props
  const root = useRef(null)
  const [marked, setMarked] = useState(null)
  const setElements = useSetRecoilState(elementState)
  const setSideView = useSetRecoilState(sideViewState)

  const goBack = () => window.cmoPanel.show({ setElements, setSideView }, back.title, window.cmoPanel.evidence(back.evidence))

  useEffect(() => {
    const panel = root.current?.closest('#side-view-content')
    if (!panel) return
    if (back) root.current.querySelector('button')?.focus({ preventScroll: true })
    let natural = 0
    const arrange = () => {
      const canvas = panel.querySelector('.react-pdf__Page canvas')
      if (canvas && !natural) natural = parseFloat(canvas.style.width) || 0
      const room = panel.querySelector('.side-pdf')?.clientWidth
      const fit = natural && room ? String(Math.max(0.3, (room - 36) / natural).toFixed(3)) : ''
      if (fit && panel.style.getPropertyValue('--cmo-fit') !== fit) panel.style.setProperty('--cmo-fit', fit)
      const layer = panel.querySelector('.react-pdf__Page__textContent')
      const shown = panel.querySelector('.react-pdf__Page')?.getAttribute('data-page-number')
      // The page is all there when its end is: until then, words that stand there twice might have been seen once.
      const end = layer?.querySelector('.endOfContent:not(.cmo-seen)')
      if (!end || shown !== String(page)) return
      end.classList.add('cmo-seen')
      setMarked(markOnPage(layer, quote))
    }
    const changes = new MutationObserver(arrange)
    const size = new ResizeObserver(arrange)
    changes.observe(panel, { childList: true, subtree: true })
    size.observe(panel)
    const undress = window.cmoPanel.dress(labels.close, () => {
      setSideView(undefined)
      window.cmoPanel.returnFocus()
    })
    return () => {
      changes.disconnect()
      size.disconnect()
      undress()
    }
  }, [page, quote])

  return (
    <section ref={root} aria-label={labels.passage} className="cmo-passage flex flex-col gap-2">
      {back && <button type="button" onClick={goBack}>{labels.back}</button>}
      <blockquote dir="auto">{quote}</blockquote>
      <p className="text-xs text-muted-foreground break-words">
        {place} ·{support && ` ${support} ·`}{' '}
        <a href={url} target="_blank" rel="noreferrer">{labels.newTab}</a>
      </p>
      {marked === false && <p role="status" className="text-xs text-muted-foreground">{labels.unmarked}</p>}
      {text ? <TextDocument file={file} quote={quote} labels={labels} onMarked={setMarked} /> : null}
    </section>
  )
}
