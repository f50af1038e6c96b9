// HTML from templates in which every value is a text, unless it is HTML itself: what an alert says is no tag.
import { FEW } from "../../../lib/core/short_list.ts";
import { masked } from "../../../lib/io/report.ts";

/** A piece of a page; only {@link markup} makes one of what others wrote. */
export class Html {
  constructor(readonly text: string) {}
}

/** What a template takes; nothing for undefined, null and false. */
export type Part = string | number | Html | undefined | null | false | Part[];

/** What stands in a cell, how bad it is, and where it leads. */
export type Cell = [words: Part, tone?: string, to?: string | null];

const MOST = 200; // rows of one table; all of them are in the JSON beside it

/** A piece of a page; secrets are masked before a sign is written otherwise. */
export function markup(pieces: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(pieces.map((piece, index) => piece + written(parts[index])).join(""));
}

function written(part: Part): string {
  if (Array.isArray(part)) return part.map(written).join("");
  if (part instanceof Html) return part.text;
  if (part === undefined || part === null || part === false) return "";
  return masked(String(part)).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A text that leads somewhere; only a page or a place of this one is a link. */
export function linked(words: Part, to: string | null | undefined): Part {
  return to && /^(https?:\/\/|#)/.test(to) ? markup`<a href="${to}">${words}</a>` : words;
}

/** A part of the page, open only where something is found. */
export function section(title: string, note: string | number, isOpen: boolean, body: Part): Html {
  const id = title.split(" ")[0]!.toLowerCase(), open = isOpen && new Html(" open");
  return markup`<details id="${id}"${open}><summary><h2>${title}</h2> <span>${note}</span></summary>
${body}</details>`;
}

/** A table; commas part its columns, `>` begins those of numbers. On a phone a row is a card: each cell has its head. */
export function grid(name: string, columns: string, rows: Cell[][]): Html {
  const sides = columns.split(",").map((head) => head.startsWith(">") ? "number" : "");
  const heads = columns.replaceAll(">", "").split(",");
  const titles = heads.map((head, at) =>
    markup`<th role="columnheader" scope="col" class="${sides[at]}">${head}</th>`
  );
  const lines = rows.slice(0, MOST).map((row) => {
    const cells = row.map(([words, tone = words === "-" ? "unknown" : "", to], at) => {
      const [head, style, text] = [heads[at], `${sides[at]} ${tone}`, linked(words, to)];
      return markup`<td role="cell" data-head="${head}" class="${style}">${text}</td>`;
    });
    return markup`<tr role="row">${cells}</tr>\n`;
  });
  return markup`<table role="table" aria-label="${name}">
<thead role="rowgroup"><tr role="row">${titles}</tr></thead>
<tbody role="rowgroup">${lines}</tbody></table>
`;
}

/** A table of what is found, and behind a fold one of the rest; a few fold nothing. */
export function folded<T>(
  name: string,
  columns: string,
  all: T[],
  isFound: (one: T) => boolean,
  rowOf: (one: T) => Cell[],
): Part {
  const isShown = (one: T) => all.length <= FEW || isFound(one);
  const { found = [], rest = [] } = Object.groupBy(all, (one) => isShown(one) ? "found" : "rest");
  const more = grid(`${name} without findings`, columns, rest.map(rowOf));
  const head = markup`<summary>${rest.length} without findings</summary>`;
  return [
    found.length > 0 && grid(name, columns, found.map(rowOf)),
    rest.length > 0 && markup`<details class="rest">${head}${more}</details>`,
  ];
}
