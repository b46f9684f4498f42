// Elements of the page. Invariant: what comes from elsewhere becomes text, never markup.

export const page = (id) => document.getElementById(id);
export const parts = (root) =>
  Object.fromEntries([...root.querySelectorAll("[data-at]")].map((part) => [part.dataset.at, part]));

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Text content and attributes only; `style` and handlers are never among them.
export function make(tag, attributes, ...content) {
  const svg = ["svg", "g", "path", "rect", "line", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...content.filter((part) => part !== null && part !== undefined));
  return element;
}

// Puts children in order, moving only what is out of place.
export function arrange(list, wanted) {
  const keep = new Set(wanted);
  for (const child of [...list.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (list.children[place] !== child) list.insertBefore(child, list.children[place] ?? null);
  });
}

// Puts new children in place of those that differ, so that a selection and the focus outlast what stays the same. A button that
// had the focus passes it on to the one of the same label.
export function refill(list, wanted) {
  const label = list.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  wanted.forEach((child, place) => {
    const there = list.children[place];
    if (!there) list.append(child);
    else if (!there.isEqualNode(child)) there.replaceWith(child);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  if (label && !list.contains(document.activeElement))
    [...list.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === label)?.focus();
}

// Shows the error of a field beside it; none if the text is empty.
export function mark(input, wrong, text) {
  say(wrong, text);
  if (text === "") input.removeAttribute("aria-invalid");
  else input.setAttribute("aria-invalid", "true");
  if (text !== "") input.focus();
}
