// Under an answer: its badge, or why it has none. The badge opens the evidence in the side panel, and so do the marks behind
// sentences without support, which are plain links in the answer's text.
import { elementState, sideViewState } from '@chainlit/react-client'
import { PanelRightOpen } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { useRecoilState, useSetRecoilState } from 'recoil'

const MARK = /^#cmo-[a-z_]+-(\d+)$/
const PLAIN = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey

export default function AnswerQuality() {
  const { level, words, reason, summary, labels, language, direction } = props
  const root = useRef(null)
  const [owner] = useState(() => String(Math.random()))
  const setElements = useSetRecoilState(elementState)
  const [sideView, setSideView] = useRecoilState(sideViewState)
  const expanded = Boolean(sideView?.elements.some(({ name, props: shown }) => name === 'EvidencePanel' && shown.owner === owner))

  const open = (at, find) => {
    window.cmoPanel.returnTo(find)
    window.cmoPanel.show({ setElements, setSideView }, labels.title, window.cmoPanel.evidence({ ...props, owner, at }))
  }

  const press = () => (expanded ? setSideView(undefined) : open(null, () => root.current?.querySelector('button')))

  useEffect(() => {
    const message = root.current?.closest('.message-content')
    if (!message || !level) return
    const click = (event) => {
      const link = event.target.closest?.('a[href^="#cmo-"]')
      const mark = link && MARK.exec(link.getAttribute('href'))
      if (!mark || event.defaultPrevented || !PLAIN(event)) return
      event.preventDefault()
      open(Number(mark[1]), () => message.querySelector(`a[href="${mark[0]}"]`))
    }
    message.addEventListener('click', click)
    return () => message.removeEventListener('click', click)
  }, [level])

  if (!level) return (
    <p ref={root} lang={language} dir={direction} className="cmo-quality text-xs text-muted-foreground">
      <span className="cmo-badge cmo-none">{words}</span> {reason}
    </p>
  )
  return (
    <p ref={root} lang={language} dir={direction} className="cmo-quality text-xs text-muted-foreground">
      <button type="button" className={`cmo-badge cmo-${level}`} aria-expanded={expanded} title={labels.show} onClick={press}>
        {words} <PanelRightOpen aria-hidden="true" size={13} />
      </button>{' '}
      {summary}
    </p>
  )
}
