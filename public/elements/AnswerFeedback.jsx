// Under an answer: thumbs, and a comment for those who want to say more. Pressing a thumb again takes it back.
import { ThumbsDown, ThumbsUp } from 'lucide-react'
import { useRef, useState } from 'react'

const THUMBS = [['up', ThumbsUp], ['down', ThumbsDown]]

export default function AnswerFeedback() {
  const { action, answer, most, labels, language, direction } = props
  const [given, setGiven] = useState(null)
  const [comment, setComment] = useState('')
  const [told, setTold] = useState('')
  const busy = useRef(false)

  const give = (thumb) => {
    if (busy.current) return
    busy.current = true
    setTold('')
    Promise.resolve(callAction({ name: action, payload: { answer, thumb, comment: thumb ? comment : '' } }))
      .then((done) => (done?.response ? done : Promise.reject()))
      .then(() => {
        setGiven(thumb)
        setTold(thumb ? labels.thanks : labels.takenBack)
      })
      .catch(() => setTold(labels.failed))
      .finally(() => { busy.current = false })
  }

  const send = (event) => {
    event.preventDefault()
    give(given)
  }

  return (
    <div role="group" aria-label={labels.ask} lang={language} dir={direction} className="cmo-feedback text-xs text-muted-foreground">
      <p>
        {labels.ask}{' '}
        {THUMBS.map(([thumb, Icon]) => (
          <button
            key={thumb} type="button" aria-label={labels[thumb]} title={labels[thumb]} aria-pressed={given === thumb}
            onClick={() => give(given === thumb ? null : thumb)}
          >
            <Icon aria-hidden="true" size={16} />
          </button>
        ))}
        <span role="status">{told}</span>
      </p>
      {given && (
        <form onSubmit={send}>
          <textarea
            aria-label={labels.comment} placeholder={labels.comment} rows={2} maxLength={most} dir="auto"
            value={comment} onChange={({ target }) => setComment(target.value)}
          />
          <button type="submit">{labels.send}</button>
        </form>
      )}
    </div>
  )
}
