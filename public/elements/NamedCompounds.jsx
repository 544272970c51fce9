// Under an answer: the metabolites it speaks of. Each opens its entries in the databases, which lead out of this application.
import { useState } from 'react'

export default function NamedCompounds() {
  const { compounds, shown, labels, language, direction } = props
  const [all, setAll] = useState(false)
  const [opened, setOpened] = useState(null)
  const listed = all ? compounds : compounds.slice(0, shown)

  const chip = ({ name }, place) => (
    <button
      key={place} type="button" className="cmo-compound" aria-expanded={opened === place} lang="en" dir="ltr"
      onClick={() => setOpened(opened === place ? null : place)}
    >
      {name}
    </button>
  )

  const entries = ({ name, written, entries: found }) => (
    <p className="cmo-entries">
      <b lang="en" dir="ltr">{name}</b>
      {written.length > 0 && <span>{labels.written} {written.join(', ')}</span>}
      {found.map(({ label, url }) => (
        url
          ? <a key={label} href={url} target="_blank" rel="noopener noreferrer" dir="ltr">{label}</a>
          : <span key={label} dir="ltr">{label}</span>
      ))}
      {found.length === 0 && <span>{labels.unknown}</span>}
    </p>
  )

  return (
    <div role="group" aria-label={labels.compounds} lang={language} dir={direction} className="cmo-compounds text-xs text-muted-foreground">
      {listed.map(chip)}
      {listed.length < compounds.length && (
        <button type="button" className="cmo-compound" onClick={() => setAll(true)}>{labels.more}</button>
      )}
      {opened !== null && entries(compounds[opened])}
    </div>
  )
}
