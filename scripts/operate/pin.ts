// Asks the registries what the tag of every image of the fleet names, and keeps the digests in IMAGE_PINS_FILE: from
// then on pods go by them, whatever is pushed over a tag. Changes no cluster; `make plan` tells what will restart.
import "../needs.ts";
import { Buffer } from "node:buffer";
import { writeFile } from "node:fs/promises";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { choiceFor, command } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { maskSecrets, print, Report, table, worstCode } from "../../lib/io/report.ts";
import { taggedImages } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";
import { digestOf, readLogins } from "./registry/client.ts";

/** Pins the images of a fleet. @throws {DeployError} exit 11 for digests that are others now, kept without `renew`. */
export async function pin(fleet: Cluster[], { renew = false, report = new Report() } = {}) {
  // Without what comes in bundles: that is Longhorn's, which takes no image by digest (longhorn#7006).
  const found = fleet.map((one) => taggedImages(STEPS, { ...one, digests: undefined }));
  const images = [...new Set((await Promise.all(found)).flat())].sort();
  const before = fleet[0]!.digests ?? new Map<string, string>();
  const now = await ask(images, fleet);
  const moved = images.filter((image) => before.has(image) && before.get(image) !== now.get(image));
  const kept = renew ? [] : moved;
  const next = images.map((image) => [image, (kept.includes(image) ? before : now).get(image)!]);
  const path = projectPath(text(fleet[0]!, "IMAGE_PINS_FILE"));
  const content = JSON.stringify(Object.fromEntries(next), null, 2) + "\n";
  const elsewhere = "point IMAGE_PINS_FILE to a file that can be written";
  await replaceFile(path, (temporary) => writeFile(temporary, content), elsewhere);

  const state = (image: string) =>
    !before.has(image) ? "new" : moved.includes(image) ? "CHANGED" : "as before";
  const rows = images.map((image) => [image, now.get(image)!.slice(0, 19), state(image)]);
  print(table([["IMAGE", "DIGEST", "STATE"], ...rows]));
  for (const image of before.keys()) {
    if (!now.has(image)) report.note(`${image} is rendered no more: its digest is forgotten`);
  }
  report.say(`\n${images.length} images pinned in ${path}; make plan tells what restarts`);
  if (kept.length === 0) return ExitCode.done;
  throw new DeployError("Another image has been pushed over a tag that was pinned", {
    exitCode: ExitCode.verification,
    where: kept.map((image) => `${image}  pinned ${before.get(image)}, now ${now.get(image)}`),
    fix: "the old digest stays; where the new one is known to be good: make pin ARGS=--renew",
  });
}

/** The digest of each image. @throws {DeployError} what {@link digestOf} throws, of all at once: nothing is written. */
async function ask(images: string[], fleet: Cluster[]): Promise<Map<string, string>> {
  const logins = await readLogins();
  maskSecrets([...logins.values()].flatMap((login) => {
    const password = Buffer.from(login, "base64").toString().replace(/^[^:]*:/, "");
    return [login, password];
  }));
  const caCerts = [...new Set(fleet.flatMap(({ s3Ca }) => s3Ca ?? []))];
  using client = Deno.createHttpClient({ caCerts });
  const mirrors = fleet.map((cluster) => text(cluster, "IMAGE_REGISTRY")).filter(Boolean);
  const foreseen = (error: unknown) => error instanceof DeployError ? error : Promise.reject(error);
  const answers = await Promise.all(images.map((image) => {
    const isOwn = mirrors.some((mirror) => image.startsWith(`${mirror}/`));
    return digestOf(image, { logins, client: isOwn ? client : undefined }).catch(foreseen);
  }));
  const failed = answers.filter((one) => one instanceof DeployError);
  if (failed.length === 0) return new Map(images.map((image, at) => [image, String(answers[at])]));
  if (failed.length === 1) throw failed[0]!;
  const what = `Cannot pin ${failed.length} of ${images.length} images: nothing is written`;
  throw new DeployError(what, {
    exitCode: worstCode(failed),
    where: failed.flatMap(({ message, where }) => [message, ...where.map((line) => `  ${line}`)]),
    fix: [...new Set(failed.map(({ fix }) => fix!))].join("; "),
  });
}

await command("pin.ts", { renew: "take digests that have changed" }, async (_, { renew }) => {
  const { clusters, paused } = await choiceFor(["all"]);
  return await pin([...clusters, ...paused], { renew });
}, import.meta.main);
