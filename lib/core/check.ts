// What should be true of a system, before a deploy or after it: what is asked of whom, and what is found.
import { type Cluster, flag, list, type Role } from "./cluster.ts";
import type { Manifest } from "./object.ts";

/** A Service, or a pod, and one of its ports by name or number. */
export interface ServicePort {
  kind?: "services" | "pods"; // default: services
  namespace: string;
  name: string;
  port: string | number;
}

/** A way to the Services of one cluster. */
export interface ClusterProxy {
  /** As fetch, to a path of a Service; the API server itself may answer (503: no ready pod). Exit 5: 60 s of silence. */
  fetch(service: ServicePort, path: string, init?: RequestInit): Promise<Response>;
}

/** `fail`: a deploy or a cluster does not do its work; `warn`: somebody should act; `hidden`: cannot be looked at. */
export type CheckState = "ok" | "note" | "warn" | "fail" | "hidden";

/** One thing that was found. */
export interface Finding {
  state?: CheckState; // default: fail
  what: string; // was seen, and where
  cause?: string;
  fix?: string; // the next command or edit
  exitCode?: number; // of a fail before a deploy; default: a prerequisite is missing (3)
  detail?: string[]; // lines that say what the verdict was made of
  patience?: number; // seconds from the first look in which a fail may still go by itself
}

/** All is well, and this was seen. */
export function ok(what: string): Finding {
  return { state: "ok", what };
}

/** Nothing is wrong, but somebody may wonder. */
export function note(what: string): Finding {
  return { state: "note", what };
}

/** It works, but somebody should act. */
export function warn(what: string, fix: string): Finding {
  return { state: "warn", what, fix };
}

/** A deploy would fail, or do harm. */
export function fail(what: string, fix: string, exitCode?: number): Finding {
  return { state: "fail", what, fix, exitCode };
}

/** It cannot be looked at here, and why. */
export function hidden(what: string): Finding {
  return { state: "hidden", what };
}

/** What came of a check, as docs/schema has it; `state` is the worst of the findings, ok without any. */
export interface CheckVerdict extends Pick<Check, "name" | "hop"> {
  state: CheckState;
  findings: Pick<Finding, "state" | "what" | "cause" | "fix" | "detail">[];
}

export interface Subject {
  cluster: Cluster;
  when: "before" | "after"; // a deploy
  objects: () => Promise<Manifest[]>; // of all steps
  proxy: ClusterProxy; // opened by the first request
  /** The same answer for every check that asks under this name; the first one does the work. */
  once<T>(name: string, work: () => Promise<T>): Promise<T>;
  say: (text: string) => void; // told what takes its time
}

/** One thing that should be true of a cluster. */
export interface Check {
  /** What is shown to be true (`Targets`), and by which way of the data (`exporters -> Prometheus`). */
  name: string;
  hop: string;
  when: "before" | "after" | "both";
  needs?: "cluster" | "pods"; // the API server, or running pods; default: this machine alone
  role?: Role; // default: it is about both
  program?: string; // it needs, as STAND_INS names it; only for one that may be a stand-in
  slow?: boolean; // takes seconds, so it begins before the others
  first?: boolean; // named before others, which may fail for it
  s3?: boolean; // a key for S3 has a part in it, so a rotation asks again
  run: (subject: Subject) => Promise<Findings>; // an error thrown here is one finding
}

/** What a check has found: nothing when all is well. */
export type Findings = Finding | false | undefined | Findings[];

export function findingsOf(found: Findings): Finding[] {
  if (Array.isArray(found)) return found.flatMap(findingsOf);
  return found ? [found] : [];
}

/** Of checks that look before a deploy: at this machine, by the API server, by a short pod (on each node). */
export const BEFORE = { when: "before" } as const;
export const BY_API = { when: "before", needs: "cluster" } as const;
export const BY_POD = { when: "before", needs: "pods" } as const;
/** Of checks that look at running programs after one. */
export const LIVE = { when: "after", needs: "pods" } as const;

/** Why what needs running pods (of `program`) shows nothing on this cluster; undefined when it does. */
export function hiddenBy(cluster: Cluster, program?: string): string | undefined {
  if (flag(cluster, "SIMULATED_NODES")) return "not shown here (simulated nodes)";
  if (program && list(cluster, "STAND_INS").includes(program)) {
    return `not shown here (${program} is a stand-in)`;
  }
}

/** Whether what is called so (a job, an object) is of a program that is a stand-in here. */
export function isStandIn(cluster: Cluster, name = ""): boolean {
  return list(cluster, "STAND_INS").some((program) => name.includes(program));
}

/** What is to be looked at on this cluster before or after a deploy: `own`, then what the steps bring. */
export function checksOf(
  steps: { checks?: Check[] }[],
  { role }: Cluster,
  when: "before" | "after",
  own: Check[] = [],
): Check[] {
  return [...own, ...steps.flatMap(({ checks = [] }) => checks)].filter((one) =>
    (one.role ?? role) === role && (one.when === when || one.when === "both")
  );
}
