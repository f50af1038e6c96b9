// A make command, typed as an operator types it.
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";

/** How a command ended. */
export interface Typed {
  /** Exit code of our script; make itself turns every failure into 2. */
  code: number;
  /** Everything it wrote. */
  output: string;
}

/** Runs `make <words>` in the project's folder (or `folder`), with `environment` added to the shell's. */
export async function typeMake(
  words: string[],
  environment: Record<string, string> = {},
  folder = projectPath("."),
): Promise<Typed> {
  const env = { ...process.env, NO_COLOR: "1", ...environment };
  const result = await $({ quiet: true, nothrow: true, cwd: folder, env })`
    make --no-print-directory ${words}`;
  const output = result.stderr + result.stdout;
  const [, code] = /^exit code (\d+)$/m.exec(output) ?? [];
  return { code: Number(code ?? result.exitCode), output };
}

/** The count of the closing line `12 changes in 40s`; undefined when there is none. */
export function changesOf({ output }: Typed): number | undefined {
  const [, count] = /^(\d+) changes? in/m.exec(output) ?? [];
  return count === undefined ? undefined : Number(count);
}
