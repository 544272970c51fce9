// The Library button acts at once: Chainlit's command buttons only mark what is sent next.
document.addEventListener('click', (event) => {
  const button = event.target.closest?.('#command-Library')
  const typed = document.querySelector('#chat-input')?.textContent.trim()
  if (!button || typed) return
  setTimeout(() => document.querySelector('#chat-submit:not([disabled])')?.click(), 60)
})
