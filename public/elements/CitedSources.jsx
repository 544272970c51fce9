// Under an answer: what it was made with, its export, its original, and the clicks on its markers.
//
// The markers are plain links in the answer's text. A click opens the page in the side panel, by Chainlit's own state and
// without the server, so that it works in a chat that was reloaded or whose server is gone. Where this fails, the link stays a link.
import { elementState, sideViewState } from '@chainlit/react-client'
import { useEffect, useRef, useState } from 'react'
import { useSetRecoilState } from 'recoil'

const MARKER = /^\[\d+\]$/

function save({ name, media_type, text }) {
  const url = URL.createObjectURL(new Blob([text], { type: media_type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 1000)
}

// The server writes the text when a button is pressed; the browser makes a file of it.
function Export({ action, answer, formats, conversation, labels }) {
  const [busy, setBusy] = useState(false)
  const [lost, setLost] = useState(false)

  const press = (format, whole) => {
    setBusy(true)
    setLost(false)
    Promise.resolve(callAction({ name: action, payload: { format, answer: whole ? null : answer } }))
      .then((done) => done?.response && save(done.response))
      .catch(() => setLost(true))
      .finally(() => setBusy(false))
  }

  const row = (label, whole) => (
    <p>
      {label}{' '}
      {formats.map(({ name, label: format }) => (
        <button key={name} type="button" disabled={busy} aria-label={`${label} ${format}`} onClick={() => press(name, whole)}>
          {format}
        </button>
      ))}
    </p>
  )

  return (
    <details
      className="cmo-export text-xs text-muted-foreground"
      onToggle={({ target }) => target.open && target.scrollIntoView({ block: 'nearest' })}
    >
      <summary>{labels.export}</summary>
      {row(labels.answer, false)}
      {conversation && row(labels.conversation, true)}
      <p role="status">{lost && labels.failed}</p>
    </details>
  )
}

export default function CitedSources() {
  const { sources, facts, why, original, language, direction, labels, exports } = props
  const root = useRef(null)
  const setElements = useSetRecoilState(elementState)
  const setSideView = useSetRecoilState(sideViewState)

  const links = (source) => [...(root.current?.closest('.message-content')?.querySelectorAll('a[href^="/papers/"]') ?? [])]
    .filter((link) => link.getAttribute('href') === source.url)

  const open = (source, link) => {
    // The links are drawn anew now and then, so the way back is remembered by place, not by node.
    const place = links(source).indexOf(link)
    window.cmoPanel.returnTo(() => links(source)[place])
    window.cmoPanel.show({ setElements, setSideView }, source.title, window.cmoPanel.page(source, labels))
  }

  useEffect(() => {
    const message = root.current?.closest('.message-content')
    if (!message) return
    if (original) {
      message.lang = language
      message.dir = direction
    }
    const paint = () => {
      for (const link of message.querySelectorAll('a[href]')) {
        if (/^https?:/.test(link.getAttribute('href'))) link.rel = 'noopener noreferrer'
        const source = sources.find((one) => one.url === link.getAttribute('href'))
        if (!source) continue
        const isMarker = MARKER.test(link.textContent)
        link.classList.toggle('cmo-marker', isMarker)
        link.setAttribute('aria-label', isMarker ? source.name : `${source.title}, ${source.where}`)
      }
    }
    const click = (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
      const link = event.target.closest?.('a[href^="/papers/"]')
      const source = link && sources.find((one) => one.url === link.getAttribute('href'))
      if (!source) return
      event.preventDefault()
      open(source, link)
    }
    paint()
    const observer = new MutationObserver(paint)
    observer.observe(message, { childList: true, subtree: true })
    message.addEventListener('click', click)
    return () => {
      observer.disconnect()
      message.removeEventListener('click', click)
    }
  }, [sources])

  return (
    <div lang={language} dir={direction}>
      {original && (
        <details className="cmo-original text-xs text-muted-foreground">
          <summary>{labels.original}</summary>
          <p lang="en" dir="ltr">{original}</p>
        </details>
      )}
      <div ref={root} className="cmo-facts text-xs text-muted-foreground mt-1">
        <p aria-label={labels.made}>{facts.join(' · ')}</p>
        {why.length > 0 && (
          <details className="cmo-why mt-1" onToggle={({ target }) => target.open && target.scrollIntoView({ block: 'nearest' })}>
            <summary>{labels.why}</summary>
            <ul>
              {why.map((line, index) => (
                <li key={index} className={line.startsWith('- ') ? 'cmo-checked' : undefined}>{line.replace(/^- /, '')}</li>
              ))}
            </ul>
          </details>
        )}
      </div>
      <Export {...exports} />
    </div>
  )
}
