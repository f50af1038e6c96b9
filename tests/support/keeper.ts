// The keeper's own shell script, as its pod runs it, with another clock where a test wants one.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const SCRIPT = new URL("../../manifests/logging/base/exporter/files/keeper.sh", import.meta.url);

/** A folder for the metrics of a keeper of this OpenSearch; `look` is so many turns of its loop. */
export async function keeperOf(url: string) {
  const www = await mkdtemp(join(tmpdir(), "keeper-"));
  const text = (await readFile(SCRIPT, "utf8"))
    .replaceAll("/www/", `${www}/`)
    .replace("sleep 300 &\n  wait $!", "((--turns > 0)) || exit 0");
  return {
    /** Its clock stands still at the time that is given. */
    async look(turns = 1, at?: Date) {
      const clock = at ? `date() { if [ "$1" = +%s ]; then echo ${at.getTime() / 1000}; ` : "";
      const script = clock ? `${clock}else command date "$@"; fi; }\n${text}` : text;
      const env = { ...Deno.env.toObject(), OPENSEARCH_URL: url, turns: String(turns) };
      const { stdout } = await promisify(execFile)("bash", ["-c", script], { env });
      return { said: stdout, metrics: await readFile(join(www, "metrics"), "utf8") };
    },
    [Symbol.asyncDispose]: () => rm(www, { recursive: true, force: true }),
  };
}

/** The value of a series in the keeper's metrics. */
export function valueOf(metrics: string, series: string): number | undefined {
  const line = metrics.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}
