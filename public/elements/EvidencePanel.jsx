// In the side panel: why an answer has its score, and each of its sentences with what its pages say to it.
import { elementState, sideViewState } from '@chainlit/react-client'
import { useEffect, useRef } from 'react'
import { useSetRecoilState } from 'recoil'

const SIGNS = { supported: '✓', related: '≈', not_found: '?', contradicted: '✗', unchecked: '–' }

export default function EvidencePanel() {
  const { level, words, summary, sentences, why, sources, labels, language, direction, at } = props
  const root = useRef(null)
  const setElements = useSetRecoilState(elementState)
  const setSideView = useSetRecoilState(sideViewState)

  useEffect(() => {
    const sentence = root.current?.querySelectorAll('.cmo-sentence')[at]
    const target = sentence ?? root.current
    target?.focus({ preventScroll: true })
    sentence?.scrollIntoView({ block: 'center' })
    return window.cmoPanel.dress(labels.hide, () => {
      setSideView(undefined)
      window.cmoPanel.returnFocus()
    })
  }, [])

  const open = (source, place) => {
    const back = { title: labels.title, evidence: { ...props, at: place } }
    window.cmoPanel.show({ setElements, setSideView }, source.title, window.cmoPanel.page(source, labels, back))
  }

  const page = (source, place) => {
    const name = `[${source.number}] ${source.title}, ${source.where}`
    if (!source.url) return <span>{name}</span>
    if (source.web) return <a href={source.url} target="_blank" rel="noopener noreferrer">{name}</a>
    return <button type="button" title={labels.page} onClick={() => open(source, place)}>{name}</button>
  }

  const numbered = (number) => sources.find((source) => source.number === number)

  const sentence = (one, place) => {
    const source = numbered(one.source)
    const cited = one.cited.map(numbered).filter((each) => each && each !== source)
    return (
      <li key={place} tabIndex={-1} className={`cmo-sentence cmo-${one.verdict}`} aria-current={place === at || undefined}>
        <p className="cmo-verdict">
          <b><span aria-hidden="true">{SIGNS[one.verdict]}</span> {one.word}</b>
          {[one.support, one.judged].filter(Boolean).map((each) => ` · ${each}`).join('')}
        </p>
        <p dir="auto">{one.text}</p>
        {one.english && <p className="cmo-aside">{labels.checkedAs} <span lang="en" dir="ltr">{one.english}</span></p>}
        {source && one.quote && <p className="cmo-aside">{labels.quote}</p>}
        {source && one.quote && <blockquote dir="auto">{one.quote}</blockquote>}
        {source && <p>{page({ ...source, quote: one.quote || source.quote, support: one.support }, place)}</p>}
        {cited.length > 0 && (
          <div className="cmo-aside">{labels.cites} {cited.map((each) => <p key={each.number}>{page(each, place)}</p>)}</div>
        )}
      </li>
    )
  }

  return (
    <section ref={root} tabIndex={-1} aria-label={labels.title} lang={language} dir={direction} className="cmo-evidence text-sm">
      <p><span className={`cmo-badge cmo-${level}`}>{words}</span> {summary}</p>
      <details className="cmo-why">
        <summary>{labels.why}</summary>
        <ul>{why.map((line, index) => <li key={index}>{line}</li>)}</ul>
      </details>
      <h3>{labels.sentences}</h3>
      <ol>{sentences.map(sentence)}</ol>
    </section>
  )
}
