// HTML from templates in which every value is a text, unless it is HTML itself: what an alert says is no tag.
import { masked } from "../../../lib/io/report.ts";

/** A piece of a page; only {@link markup} makes one of what others wrote. */
export class Html {
  readonly text: string;
  /** `text` is taken as it is. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What a template takes; nothing for undefined, null and false. */
export type Part = string | number | Html | undefined | null | false | Part[];

const SIGNS: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** A piece of a page; secrets are masked before a sign is written otherwise. */
export function markup(pieces: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(pieces.map((piece, index) => piece + written(parts[index])).join(""));
}

function written(part: Part): string {
  if (Array.isArray(part)) return part.map(written).join("");
  if (part instanceof Html) return part.text;
  if (part === undefined || part === null || part === false) return "";
  return masked(String(part)).replace(/[&<>"']/g, (sign) => SIGNS[sign]!);
}

/** A text that leads somewhere; only a page or a place of this one is a link. */
export function linked(words: Part, to: string | null | undefined): Part {
  return to && /^(https?:\/\/|#)/.test(to) ? markup`<a href="${to}">${words}</a>` : words;
}
