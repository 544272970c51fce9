// How far indexing is, and the button that stops it.
import { Button } from '@/components/ui/button'

export default function IndexProgress() {
  const { percent, cancel, labels } = props
  return (
    <div className="flex flex-col gap-3 items-start w-full">
      <div
        role="progressbar" aria-label={labels.read} aria-valuenow={percent} aria-valuemin={0} aria-valuemax={100}
        className="w-full h-2 rounded-full bg-muted overflow-hidden"
      >
        <div className="h-full bg-primary transition-all" style={{ width: `${percent}%` }} />
      </div>
      <Button
        size="sm" variant="outline" title={labels.stays} onClick={() => callAction({ name: cancel, payload: {} })}
      >
        {labels.stop}
      </Button>
    </div>
  )
}
