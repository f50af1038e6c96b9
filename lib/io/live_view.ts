// The last lines of a terminal: what each cluster does at this moment, below the lines that stay.
import { FEW } from "../core/short_list.ts";

interface Screen {
  columns: number;
  rows: number;
  write(text: string): unknown;
}

/** `idle`: nothing goes on there, and among many rows it is only counted. */
interface Row {
  name: string;
  text: string;
  since: number;
  idle?: boolean;
}

export type LiveView = ReturnType<typeof liveView>;

/** A row for each name; to be ended before anything else writes to the terminal. */
export function liveView(screen: Screen) {
  const shown = new Map<string, Row>();
  let drawn = 0;
  const timer = setInterval(above, 1000, "");
  Deno.unrefTimer(timer as unknown as number);

  /** Lines that stay, above the rows; with their line feeds. */
  function above(lines: string): void {
    // One write: what is cleared and drawn again in two would flicker.
    const clear = drawn > 0 ? `\x1b[${drawn}A\x1b[J` : "";
    const rows = fitting([...shown.values()], Math.max(2, (screen.rows || 24) - 2));
    drawn = rows.length;
    // A longer one would take two lines, and only one of them would be cleared.
    const cut = rows.map((row) => lineOf(row).slice(0, (screen.columns || 80) - 1));
    screen.write(clear + lines + cut.map((line) => `\x1b[7m${line}\x1b[0m\n`).join(""));
  }

  return {
    above,
    /** What goes on under this name from now on; `idle`: nothing does, and the text says why. */
    show(name: string, text: string, idle = false): void {
      if (shown.get(name)?.text === text) return;
      shown.set(name, { name, text, since: Date.now(), idle });
      above("");
    },
    end(): void {
      clearInterval(timer);
      shown.clear();
      above("");
    },
  };
}

function lineOf({ name, text, since }: Row): string {
  return `${name}${text}  ${Math.round((Date.now() - since) / 1000)}s`;
}

/** Above the height nothing can be drawn again: the rows that changed last are shown, and the others counted. */
function fitting(all: Row[], room: number): Row[] {
  const folded = all.filter(({ idle }) => idle && all.length > FEW);
  if (folded.length === 0 && all.length <= room) return all;
  const busy = all.filter((row) => !folded.includes(row)).sort((a, b) => b.since - a.since);
  const last = busy.slice(0, room - 1);
  const left = [...busy.slice(room - 1).map(() => "more"), ...folded.map(({ text }) => text)];
  const counts = [...Map.groupBy(left, String)].map(([text, { length }]) => `${length} ${text}`);
  const rest = { name: "", text: `and ${counts.join(", ")}`, since: Date.now() };
  return [...all.filter((row) => last.includes(row)), rest];
}
