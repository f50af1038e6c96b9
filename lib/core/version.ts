// Versions of programs, compared, and for which machine they are.

/** This machine in the words of releases. */
export const PLATFORM = {
  os: Deno.build.os as string,
  arch: Deno.build.arch === "x86_64" ? "amd64" : "arm64",
};

/** Whether version `own` comes before `needed`, number by number; what it leaves out counts as `rest`. */
export function isOlder(own: string, needed: string, rest = 0): boolean {
  const [ours, theirs] = [own, needed].map((text) => (text.match(/\d+/g) ?? []).map(Number));
  const index = theirs!.findIndex((part, index) => (ours![index] ?? rest) !== part);
  return index >= 0 && (ours![index] ?? rest) < theirs![index]!;
}
