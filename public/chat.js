// The Library button acts at once: Chainlit's command buttons only mark what is sent next.
document.addEventListener('click', (event) => {
  const button = event.target.closest?.('#command-Library')
  const typed = document.querySelector('#chat-input')?.textContent.trim()
  if (!button || typed) return
  setTimeout(() => document.querySelector('#chat-submit:not([disabled])')?.click(), 60)
})

// The side panel, as the elements of the page use it; they cannot import from one another.
window.cmoPanel = (() => {
  const made = (id) => `${id}-${crypto.randomUUID ? crypto.randomUUID() : Math.random()}`
  const side = (name, props) => ({ id: made(name), name, type: 'custom', display: 'side', forId: '', props })

  return {
    // A source's page, with the quote above it and marked on it; `back` is the evidence it was opened from.
    page(source, labels, back) {
      const [file] = source.url.split('#')
      const passage = side('CitedPassage', { ...source, file, labels, back })
      if (source.text) return [passage]
      const { title, page } = source
      return [passage, { id: made('page'), name: title, type: 'pdf', display: 'side', forId: '', url: file, page }]
    },

    evidence: (evidence) => [side('EvidencePanel', evidence)],

    // Chainlit opens what is in its list of side elements, and closes the panel when the list is empty: both are set.
    show({ setElements, setSideView }, title, elements) {
      setElements((all) => [...all.filter((element) => element.display !== 'side'), ...elements])
      // After Chainlit's own reaction to the list, which takes the last element's name for a title.
      setTimeout(() => setSideView({ title, elements }), 0)
    },

    // What Chainlit leaves out: a name for the close button, and Escape. Gives back what undoes it.
    dress(closeLabel, close) {
      document.querySelector('#side-view-title button')?.setAttribute('aria-label', closeLabel)
      const onKey = (event) => event.key === 'Escape' && close()
      document.addEventListener('keydown', onKey)
      return () => document.removeEventListener('keydown', onKey)
    },

    // Where the person came from; what is in an answer is drawn anew now and then, so `find` looks for it again.
    returnTo(find) {
      window.cmoReturnFocus = () => find()?.focus()
    },

    returnFocus: () => setTimeout(() => window.cmoReturnFocus?.(), 0)
  }
})()
