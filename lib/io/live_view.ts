// The last lines of a terminal: what each cluster does at this moment, below the lines that stay.
import { FEW } from "../core/short_list.ts";

interface Screen {
  columns: number;
  rows: number;
  write(text: string): unknown;
}

/** `idle`: nothing goes on there, and among many rows it is only counted. */
interface Row {
  text: string;
  since: number;
  idle?: boolean;
}

/** A row for each name; to be ended before anything else writes to the terminal. */
export class LiveView {
  readonly #screen: Screen;
  readonly #rows = new Map<string, Row>();
  readonly #timer = setInterval(() => this.above(""), 1000);
  #drawn = 0;

  constructor(screen: Screen) {
    this.#screen = screen;
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Lines that stay, above the rows; with their line feeds. */
  above(lines: string): void {
    // One write: what is cleared and drawn again in two would flicker.
    const clear = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : "";
    const rows = this.#fitting();
    this.#drawn = rows.length;
    this.#screen.write(clear + lines + rows.map((row) => this.#line(...row)).join(""));
  }

  /** What goes on under this name from now on; `idle`: nothing does, and the text says why. */
  show(name: string, text: string, idle = false): void {
    if (this.#rows.get(name)?.text === text) return;
    this.#rows.set(name, { text, since: Date.now(), idle });
    this.above("");
  }

  end(): void {
    clearInterval(this.#timer);
    this.#rows.clear();
    this.above("");
  }

  /** Above the height nothing can be drawn again: the rows that changed last are shown, and the others counted. */
  #fitting(): [name: string, row: Row][] {
    const all = [...this.#rows], room = Math.max(2, (this.#screen.rows || 24) - 2);
    const isFolded = ([, { idle }]: [string, Row]) => idle === true && all.length > FEW;
    const folded = all.filter(isFolded), busy = all.filter((row) => !isFolded(row));
    if (folded.length === 0 && all.length <= room) return all;
    busy.sort(([, a], [, b]) => b.since - a.since);
    const shown = new Set(busy.slice(0, room - 1));
    const left = [...busy.slice(room - 1).map(() => "more"), ...folded.map(([, { text }]) => text)];
    const counts = [...Map.groupBy(left, String)].map(([text, { length }]) => `${length} ${text}`);
    return [
      ...all.filter((row) => shown.has(row)),
      ["", { text: `and ${counts.join(", ")}`, since: Date.now() }],
    ];
  }

  #line(name: string, { text, since }: Row): string {
    const seconds = Math.round((Date.now() - since) / 1000);
    // A longer one would take two lines, and only one of them would be cleared.
    const line = `${name}${text}  ${seconds}s`.slice(0, (this.#screen.columns || 80) - 1);
    return `\x1b[7m${line}\x1b[0m\n`;
  }
}
