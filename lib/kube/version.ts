// Whether the kubectl program is one that all of this was tried with.
import { DeployError, ExitCode } from "../core/error.ts";
import { kubectlMark, kubectlVersion } from "./kubectl.ts";

/** The oldest minor version that is accepted. */
export const OLDEST = 32;

/** `36` of `v1.36.3`. */
export function minorOf(version: string): number {
  return Number(/^v?\d+\.(\d+)/.exec(version)?.[1] ?? NaN);
}

/** Versions by the mark of the program: it is asked once. */
const versions = new Map<string, Promise<string>>();

/** Refuses (exit 3) a kubectl that is older than {@link OLDEST}: it would do other things than we tell it. */
export async function refuseOldKubectl(): Promise<void> {
  const mark = await kubectlMark();
  if (!versions.has(mark)) versions.set(mark, kubectlVersion());
  const version = await versions.get(mark)!;
  if (minorOf(version) >= OLDEST) return;
  throw new DeployError(`Cannot work with kubectl ${version}: older than v1.${OLDEST}`, {
    exitCode: ExitCode.prerequisite,
    where: mark.split(" ")[0] || "kubectl",
    fix: "make tools, or a newer kubectl first on PATH",
  });
}
