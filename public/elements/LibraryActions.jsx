// Buttons for the library: each calls one action of the chat, once.
import { Button } from '@/components/ui/button'
import { useState } from 'react'

export default function LibraryActions() {
  const [pressed, setPressed] = useState(null)
  const press = (name) => {
    setPressed(name)
    Promise.resolve(callAction({ name, payload: {} })).catch(() => setPressed(null))
  }
  return (
    <div className="flex flex-wrap gap-2">
      {props.actions.map(({ name, label, hint }) => (
        <Button
          key={name} size="sm" title={hint}
          disabled={pressed !== null} onClick={() => press(name)}
        >
          {label}
        </Button>
      ))}
    </div>
  )
}
