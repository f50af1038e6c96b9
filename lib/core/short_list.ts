// Lists in one line.

/** The first three, and how many there are more: `a, b, c and 4 more`. */
export function shortList(items: string[], separator = ", "): string {
  const more = items.length > 3 ? ` and ${items.length - 3} more` : "";
  return items.slice(0, 3).join(separator) + more;
}
