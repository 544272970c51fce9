// Questions to begin with; a click asks one, as if it had been typed.
import { Button } from '@/components/ui/button'

export default function SuggestedQuestions() {
  return (
    <div className="flex flex-wrap gap-2">
      {props.questions.map((question) => (
        <Button
          key={question} variant="outline" onClick={() => sendUserMessage(question)}
          className="h-auto min-h-10 py-1.5 rounded-3xl whitespace-normal text-left font-normal"
        >
          {question}
        </Button>
      ))}
    </div>
  )
}
