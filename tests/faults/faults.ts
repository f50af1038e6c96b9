// Which test shows what the deployer does about each fault of the table: `deno task faults`. Ends with 11
// when a fault has none. Tests are found by their names; none is run.
import "../../scripts/needs.ts";
import { readdir, readFile } from "node:fs/promises";
import { projectPath } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { print, table } from "../../lib/io/report.ts";
import { type Fault, FAULTS } from "./rows.ts";

/** A test that says which fault it is about. */
export interface FaultTest {
  id: string;
  /** Its name without the ids. */
  name: string;
  /** `tests/lib/kube/target_test.ts`. */
  file: string;
}

// A text that begins with ids, up to its own quote: "A28, A52: every row is tried".
const NAMES = /(["'`])((?:[A-Z]\d+, )*[A-Z]\d+: (?:(?!\1).)+)\1/g;

/** What a file says it shows: a name may speak of several faults (`A39: ...; A72: ...`). */
export function testsIn(file: string, text: string): FaultTest[] {
  const parts = [...text.matchAll(NAMES)].flatMap(([, , name]) => name!.split(/; (?=[A-Z]\d+: )/));
  return parts.flatMap((part) => {
    const [, ids, name] = /^([A-Z\d, ]+): (.*)/.exec(part)!;
    // B are faults of the deployed system, which is another table.
    return ids!.split(", ").filter((id) => !id.startsWith("B"))
      .map((id) => ({ id, name: name!, file }));
  });
}

/** Every test of a fault, but for what this table says of itself: below tests/, the ones for a real site too, and in the smoke job. */
export async function faultTests(): Promise<FaultTest[]> {
  const below = await readdir(projectPath("tests"), { recursive: true });
  const depth = (name: string) => name.split("/").length;
  const files = below.filter((name) => name.endsWith(".ts") && !name.startsWith("faults/"))
    .sort((a, b) => depth(a) - depth(b) || a.localeCompare(b)).map((name) => `tests/${name}`);
  const found = [...files, "tests/smoke/smoke.ts"].map(async (file) =>
    testsIn(file, await readFile(projectPath(file), "utf8"))
  );
  return (await Promise.all(found)).flat();
}

/** Ids of the rows that no test is about. */
export function untested(tests: FaultTest[], faults = FAULTS): string[] {
  const shown = new Set(tests.map(({ id }) => id));
  return faults.map(({ id }) => id).filter((id) => !shown.has(id));
}

function cells(tests: FaultTest[], { id, fault, exit }: Fault): string[] {
  const [first, ...more] = tests.filter((test) => test.id === id);
  if (!first) return [id, fault, exit, "-"];
  const others = more.length > 0 ? `  +${more.length} more` : "";
  return [id, fault, exit, `${first.file}  ${first.name}${others}`];
}

if (import.meta.main) {
  await command("faults.ts", {}, async () => {
    const tests = await faultTests();
    print(table([["id", "fault", "exit", "test"], ...FAULTS.map((row) => cells(tests, row))]));
    const missing = untested(tests);
    if (missing.length === 0) return ExitCode.done;
    throw new DeployError(`Cannot show every fault: ${missing.length} have no test`, {
      exitCode: ExitCode.verification,
      where: missing.join(", "),
      fix: 'write tests whose names begin with the id: Deno.test("A24: ...")',
    });
  });
}
