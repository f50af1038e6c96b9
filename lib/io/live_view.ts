// The last lines of a terminal: what each cluster does at this moment, below the lines that stay.

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

  /** What goes on under this name from now on. */
  show(name: string, text: string): void {
    if (this.#rows.get(name)?.text === text) return;
    this.#rows.set(name, { text, since: Date.now() });
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
    if (all.length <= room) return all;
    const shown = new Set(
      [...all].sort(([, a], [, b]) => b.since - a.since).slice(0, room - 1).map(([name]) => name),
    );
    const rest = { text: `and ${all.length - shown.size} more`, since: Date.now() };
    return [...all.filter(([name]) => shown.has(name)), ["", rest]];
  }

  #fitted(name: string, { text, since }: Row): string {
    const seconds = Math.round((Date.now() - since) / 1000);
    // A longer one would take two lines, and only one of them would be cleared.
    const line = `${name}${text}  ${seconds}s`.slice(0, this.#screen.columns() - 1);
    return `\x1b[7m${line}\x1b[0m`;
  }
}
