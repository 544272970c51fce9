// In the side panel: the quoted passage, above the page it stands on. It marks the passage in the page, fits the page to the panel,
// and gives the panel what Chainlit leaves out: a name for its close button, Escape, and the way back to the marker.
import { sideViewState } from '@chainlit/react-client'
import { useEffect, useRef, useState } from 'react'
import { useSetRecoilState } from 'recoil'

const JOINT = ' … '
const letters = (text) => text.normalize('NFKC').toLowerCase().replace(/[^\p{L}\p{N}]/gu, '')

function markOnPage(layer, quote) {
  const spans = [...layer.querySelectorAll('span:not(.cmo-hit)')].filter((span) => !span.children.length)
  const starts = []
  let all = ''
  for (const span of spans) {
    starts.push(all.length)
    all += letters(span.textContent)
  }
  for (const part of quote.split(JOINT).map(letters)) {
    const from = part ? all.indexOf(part) : -1
    if (from < 0) continue
    spans.forEach((span, index) => {
      const end = index + 1 < starts.length ? starts[index + 1] : all.length
      if (end > from && starts[index] < from + part.length && end > starts[index]) span.classList.add('cmo-hit')
    })
  }
}

function TextDocument({ file, quote }) {
  const [text, setText] = useState(null)
  const hit = useRef(null)
  useEffect(() => {
    fetch(file)
      .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
      .then(setText)
      .catch(() => setText('This document cannot be shown.'))
  }, [file])
  useEffect(() => {
    hit.current?.scrollIntoView({ block: 'center' })
  }, [text])
  if (text === null) return <p className="text-sm text-muted-foreground">Loading …</p>
  const first = quote.split(JOINT)[0]
  const at = text.indexOf(first)
  return (
    <pre className="whitespace-pre-wrap break-words text-sm border rounded-md p-3" style={{ fontFamily: 'inherit' }}>
      {at < 0 ? text : <>{text.slice(0, at)}<mark ref={hit}>{first}</mark>{text.slice(at + first.length)}</>}
    </pre>
  )
}

export default function CitedPassage() {
  const { number, page, quote, file, url, text, document: name } = props
  const root = useRef(null)
  const setSideView = useSetRecoilState(sideViewState)

  const close = () => {
    setSideView(undefined)
    setTimeout(() => window.cmoReturnFocus?.(), 0)
  }

  useEffect(() => {
    const panel = root.current?.closest('#side-view-content')
    if (!panel) return
    document.querySelector('#side-view-title button')?.setAttribute('aria-label', 'Close the source')
    let natural = 0
    const arrange = () => {
      const canvas = panel.querySelector('.react-pdf__Page canvas')
      if (canvas && !natural) natural = parseFloat(canvas.style.width) || 0
      const room = panel.querySelector('.side-pdf')?.clientWidth
      const fit = natural && room ? String(Math.max(0.3, (room - 36) / natural).toFixed(3)) : ''
      if (fit && panel.style.getPropertyValue('--cmo-fit') !== fit) panel.style.setProperty('--cmo-fit', fit)
      const layer = panel.querySelector('.react-pdf__Page__textContent')
      const shown = panel.querySelector('.react-pdf__Page')?.getAttribute('data-page-number')
      if (layer && shown === String(page)) markOnPage(layer, quote)
    }
    const onKey = (event) => event.key === 'Escape' && close()
    const changes = new MutationObserver(arrange)
    const size = new ResizeObserver(arrange)
    changes.observe(panel, { childList: true, subtree: true })
    size.observe(panel)
    document.addEventListener('keydown', onKey)
    return () => {
      changes.disconnect()
      size.disconnect()
      document.removeEventListener('keydown', onKey)
    }
  }, [page, quote])

  return (
    <section ref={root} aria-label="Quoted passage" className="cmo-passage flex flex-col gap-2">
      <blockquote>{quote}</blockquote>
      <p className="text-xs text-muted-foreground break-words">
        [{number}] {name}, page {page} ·{' '}
        <a href={url} target="_blank" rel="noreferrer">open in a new tab</a>
      </p>
      {text ? <TextDocument file={file} quote={quote} /> : null}
    </section>
  )
}
