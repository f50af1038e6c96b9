// Parts and tables of the page: what has no findings is folded.
import { FEW } from "../../../lib/core/short_list.ts";
import { Html, linked, markup, type Part } from "./html.ts";

/** What stands in a cell, how bad it is, and where it leads. */
export type Cell = [words: Part, tone?: string, to?: string | null];

/** Rows of one table at most; all of them are in the JSON beside it. */
const MOST = 200;

/** A part of the page, open only where something is found. */
export function section(title: string, note: string | number, isOpen: boolean, body: Part): Html {
  const id = title.split(" ")[0]!.toLowerCase(), open = isOpen && new Html(" open");
  return markup`<details id="${id}"${open}><summary><h2>${title}</h2> <span>${note}</span></summary>
${body}</details>`;
}

/** A table; the heads of numbers begin with `>`. On a phone each row is a card, so every cell has its head. */
export function grid(name: string, heads: string[], rows: Cell[][]): Html {
  const names = heads.map((head) => head.replace(">", ""));
  const sides = heads.map((head) => head.startsWith(">") ? "number" : "");
  const cells = (row: Cell[]) =>
    row.map(([words, tone = words === "-" ? "unknown" : "", to], at) =>
      markup`<td role="cell" data-head="${names[at]}" class="${sides[at]} ${tone}">${
        linked(words, to)
      }</td>`
    );
  const titles = names.map((head, at) =>
    markup`<th role="columnheader" scope="col" class="${sides[at]}">${head}</th>`
  );
  const lines = rows.slice(0, MOST).map((row) => markup`<tr role="row">${cells(row)}</tr>\n`);
  return markup`<table role="table" aria-label="${name}">
<thead role="rowgroup"><tr role="row">${titles}</tr></thead>
<tbody role="rowgroup">${lines}</tbody></table>
`;
}

/** A table of what is found, and behind a fold one of the rest; a few fold nothing. */
export function folded<T>(
  name: string,
  heads: string[],
  all: T[],
  isFound: (one: T) => boolean,
  rowOf: (one: T) => Cell[],
): Part {
  const found = all.length > FEW ? all.filter(isFound) : all;
  const rest = all.filter((one) => !found.includes(one));
  const more = grid(`${name} without findings`, heads, rest.map(rowOf));
  return [
    found.length > 0 && grid(name, heads, found.map(rowOf)),
    rest.length > 0 &&
    markup`<details class="rest"><summary>${rest.length} without findings</summary>${more}</details>`,
  ];
}
