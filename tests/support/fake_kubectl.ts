// A kubectl that records how it was called and answers from a table.
import { chmod, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { useApi } from "../../lib/kube/api.ts";
import { KEPT } from "../../lib/kube/target.ts";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { OWNER } from "../../lib/core/object.ts";
import { fakeApi, SERVES } from "./fake_api.ts";

export interface Reply {
  /** Extended regular expression over the arguments, joined by blanks. */
  on: string;
  stdout?: string;
  stderr?: string;
  code?: number;
  /** Seconds before the answer. */
  delay?: number;
  /** The reply serves this many calls, then the next one that matches does. */
  times?: number;
}

export interface Call {
  args: string;
  stdin: string;
  locale: string;
}

/**
 * Puts a fake kubectl in place for this test file (each file has its own modules) and gives the
 * calls it got, in order. A call that no reply matches fails with exit 64.
 */
export async function fakeKubectl(replies: Reply[]): Promise<() => Promise<Call[]>> {
  const { program, calls } = await fakeProgram(replies);
  useKubectl(program);
  const tells = replies.some(({ on }) => on === SERVES);
  useApi((cluster) => fakeApi(cluster, tells));
  return calls;
}

/** A fake kubectl as a program, for a process of its own: `program` is its path. */
export async function fakeProgram(
  replies: Reply[],
): Promise<{ program: string; calls: () => Promise<Call[]> }> {
  const folder = await mkdtemp(join(tmpdir(), "fake-kubectl-"));
  const write = (name: string, text: string) => writeFile(join(folder, name), text);
  for (
    const [index, { on, stdout = "", stderr = "", code = 0, delay = 0, times = 1e6 }] of replies
      .entries()
  ) {
    const name = String(index).padStart(3, "0");
    await write(`${name}.on`, on);
    await write(`${name}.out`, stdout);
    await write(`${name}.err`, stderr);
    await write(`${name}.end`, `delay=${delay} code=${code}`);
    await write(`${name}.left`, String(times));
  }
  const script = join(folder, "kubectl");
  await writeFile(script, SCRIPT.replaceAll("FOLDER", folder));
  await chmod(script, 0o700);
  return { program: script, calls: () => recorded(folder) };
}

/** `kubectl config view` of a seat that knows every cluster of the fixtures under its own address. */
export const FLEET_CONFIG = JSON.stringify({
  contexts: ["196", "197", "198"].map((id) => ({ name: `mkube-${id}`, context: { cluster: id } })),
  clusters: ["196", "197", "198"].map((id) => ({
    name: id,
    cluster: { server: `https://192.168.101.${id}:8443` },
  })),
});

/** A cluster whose lock nobody holds. */
export const FREE: Reply[] = [
  { on: "create --validate=false --filename -" },
  { on: "patch lease " },
];

/** Every `kubectl proxy` starts. */
export const PROXIES: Reply = { on: " proxy ", delay: 30 };

/** Serves in place of every `kubectl proxy` that is among the calls, until `work` is done; the table needs {@link PROXIES}. */
export async function servingWhile<T>(
  work: Promise<T>,
  calls: () => Promise<Call[]>,
  answer: (request: Request, context: string) => Response | Promise<Response>,
): Promise<T> {
  const servers = new Map<string, Deno.HttpServer>();
  let isDone = false;
  work.catch(() => {}).finally(() => isDone = true);
  while (!isDone) {
    // A call that has just begun is not written down yet.
    for (const { args } of await calls().catch(() => [])) {
      const [, context, path] = /--context=(\S+) .*--unix-socket=(\S+)/.exec(args) ?? [];
      if (!path || servers.has(path)) continue;
      servers.set(path, Deno.serve({ path, onListen() {} }, (asked) => answer(asked, context!)));
    }
    await sleep(20);
  }
  for (const server of servers.values()) await server.shutdown();
  return await work;
}

/** What kubectl prints of objects. */
export function listOf(...items: unknown[]): string {
  return JSON.stringify({ kind: "List", items });
}

/**
 * What the guard reads of a cluster; `marker` is the data of our ConfigMap there, if any, and `kinds` what
 * was deployed.
 */
export function identityReply(
  uid: string,
  marker?: Record<string, string>,
  kinds?: string[],
): Reply {
  const items = [
    { kind: "Namespace", metadata: { name: "kube-system", uid } },
    ...(marker ? [{ kind: "ConfigMap", metadata: { name: OWNER }, data: marker }] : []),
    ...(kinds
      ? [{ kind: "ConfigMap", metadata: { name: KEPT }, data: { kinds: kinds.join("\n") } }]
      : []),
  ];
  return { on: "get namespace/kube-system", stdout: JSON.stringify({ kind: "List", items }) };
}

const SCRIPT = `#!/bin/bash
cd FOLDER
exec 9>lock; flock 9
[ "$*" != "version --client --output json" ] || grep -qs version *.on ||
  { echo '{"clientVersion":{"gitVersion":"v1.36.3"}}'; exit; }
call=call.$(printf %05d $(ls | grep -c 'call.*args'))
echo "$*" >$call.args
echo "$LC_ALL" >$call.locale
if [ -t 0 ]; then : >$call.stdin; else cat >$call.stdin; fi
for on in *.on; do
  n=\${on%.on}; left=$(cat $n.left)
  [ $left -gt 0 ] || continue
  echo "$*" | grep -Eq -- "$(cat $on)" || continue
  echo $((left - 1)) >$n.left
  exec 9>&-
  . ./$n.end
  # No child, which would outlive it.
  [ $delay = 0 ] || read -rt $delay <> <(:); cat $n.out; cat $n.err >&2; exit $code
done
echo "no reply for: $*" >&2; exit 64
`;

async function recorded(folder: string): Promise<Call[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".args")).sort();
  return await Promise.all(names.map(async (name) => {
    const [args, stdin, locale] = await Promise.all(
      ["args", "stdin", "locale"].map((end) =>
        readFile(join(folder, name.replace("args", end)), "utf8")
      ),
    );
    return { args: args!.trim(), stdin: stdin!, locale: locale!.trim() };
  }));
}
