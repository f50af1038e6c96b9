// Lists in one line, and when there are too many of them.

/** Clusters of which each may have lines of its own in what people read; what all have to say is folded beyond. */
export const FEW = 6;

/** `1 change`, `3 changes`; `noun` is one whose plural has an s. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The first three, and how many there are more: `a, b, c and 4 more`. */
export function shortList(items: string[], separator = ", "): string {
  const more = items.length > 3 ? ` and ${items.length - 3} more` : "";
  return items.slice(0, 3).join(separator) + more;
}
