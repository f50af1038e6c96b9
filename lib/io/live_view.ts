// The last lines of a terminal: what each cluster does at this moment, below the lines that stay.
import { FEW } from "../core/short_list.ts";

/** What the view needs of a terminal. */
export interface Screen {
  write: (text: string) => void;
  /** Width in characters; it may change. */
  columns: () => number;
  /** Height in lines; it may change. */
  rows: () => number;
}

interface Row {
  text: string;
  /** As of `Date.now()`. */
  since: number;
  /** Nothing goes on there: among many rows it is only counted. */
  idle?: boolean;
}

/** A row for each name; to be ended before anything else writes to the terminal. */
export class LiveView {
  readonly #screen: Screen;
  readonly #rows = new Map<string, Row>();
  readonly #timer: ReturnType<typeof setInterval>;
  #drawn = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
    this.#timer = setInterval(() => this.#write(""), 1000);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Lines that stay, above the rows; with their line feeds. */
  above(lines: string): void {
    this.#write(lines);
  }

  /** What goes on under this name from now on; `idle`: nothing does, and the text says why. */
  show(name: string, text: string, idle = false): void {
    if (this.#rows.get(name)?.text === text) return;
    this.#rows.set(name, { text, since: Date.now(), idle });
    this.#write("");
  }

  /** Takes the rows away. */
  end(): void {
    clearInterval(this.#timer);
    this.#rows.clear();
    this.#write("");
  }

  #write(lines: string): void {
    // One write: what is cleared and drawn again in two would flicker.
    const clear = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : "";
    const rows = this.#cropped().map(([name, row]) => `${this.#fitted(name, row)}\n`);
    this.#drawn = rows.length;
    this.#screen.write(clear + lines + rows.join(""));
  }

  /** Those that fit the height: above it nothing can be drawn again. The ones that changed last come first. */
  #cropped(): [name: string, row: Row][] {
    const all = [...this.#rows], room = Math.max(2, this.#screen.rows() - 2);
    const isFolded = ([, { idle }]: typeof all[number]) => idle && all.length > FEW;
    const busy = all.filter((row) => !isFolded(row));
    if (busy.length === all.length && all.length <= room) return all;
    const shown = new Set(
      busy.toSorted(([, a], [, b]) => b.since - a.since).slice(0, room - 1).map(([name]) => name),
    );
    const more = busy.length > shown.size ? [`${busy.length - shown.size} more`] : [];
    const counts = Map.groupBy(all.filter(isFolded), ([, { text }]) => text);
    const rest = [...more, ...[...counts].map(([text, { length }]) => `${length} ${text}`)];
    return [
      ...all.filter(([name]) => shown.has(name)),
      ["", { text: `and ${rest.join(", ")}`, since: Date.now() }],
    ];
  }

  #fitted(name: string, { text, since }: Row): string {
    const seconds = Math.round((Date.now() - since) / 1000);
    // A longer one would take two lines, and only one of them would be cleared.
    const line = `${name}${text}  ${seconds}s`.slice(0, this.#screen.columns() - 1);
    return `\x1b[7m${line}\x1b[0m`;
  }
}
