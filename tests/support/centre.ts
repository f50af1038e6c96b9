// A centre that knows what a test says it does, and fleets of any size.
import assert from "node:assert/strict";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import type { Sample } from "../../scripts/checks/metrics.ts";
import type { Stores } from "../../scripts/components/thanos/stores.ts";
import { type Ask, QUESTIONS } from "../../scripts/operate/centre/questions.ts";
import { WEEK } from "../../scripts/operate/report/facts.ts";
import { fixtureFleet } from "./cluster_fixture.ts";

/** The three clusters of env/. */
export const fleet = await fixtureFleet({ KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
/** When the made-up centre answers, in seconds. */
export const NOW = 1_800_000_000;

/** A fleet of so many clusters: the three of env/, and more edges like the last. */
export function fleetOf(count: number): Cluster[] {
  const clusters: Cluster[] = [];
  for (let index = 0; index < count; index++) {
    const like = fleet[Math.min(index, 2)]!, id = String(196 + index), name = nameOf(id);
    const vars = { ...like.vars, CLUSTER_NAME: name };
    clusters.push({ ...like, id, name, vars, fleet: clusters });
  }
  return clusters;
}

/** The name of a cluster of {@link fleetOf}. */
export function nameOf(id: string): string {
  return id === "196" ? "cluster-196-central" : `cluster-${id}-edge`;
}

/** What the centre has of one cluster; undefined: no series. */
export interface Seen {
  sample?: number;
  before?: number;
  upload?: number;
  line?: number;
  used?: number;
  /** Days until the kubelet's certificate ends. */
  days?: number;
  alerts?: [name: string, severity: string, labels?: Record<string, string>][];
  isSilent?: boolean;
  ruler?: "away";
  snapshot?: number;
  backup?: number;
  /** How full its volumes were in the last week, and hours for which each alert fired in it. */
  week?: Record<string, [time: number, used: string][]>;
  hours?: [name: string, severity: string, hours: number][];
}

/** Of one that is well. */
export const WELL: Seen = {
  sample: NOW - 12,
  upload: NOW - 3600,
  line: NOW - 61,
  used: 0.61,
  days: 300,
};

/** The label of what the Ruler says. */
export const RULER = { ruler_cluster: "cluster-196-central" };

/** What Query is in touch with. */
export const STORES: Stores = {
  sidecar: [{ name: "a", lastError: null, labelSets: [{ cluster: nameOf("196") }] }],
  store: [{ name: "b", lastError: null, labelSets: [] }],
  rule: [{ name: "c", lastError: null, labelSets: [] }],
};

/** A centre that has this to say of the clusters; what it was asked is in `asked`. */
export function centreWith(
  seen: Record<string, Seen>,
  asked: string[] = [],
  rules: unknown[] = [],
): Ask {
  const series = (value: (one: Seen) => number | undefined, more: Record<string, string> = {}) =>
    Object.entries(seen).flatMap(([id, one]): Sample[] => {
      const found = value(one);
      if (found === undefined) return [];
      return [{ metric: { cluster: nameOf(id), ...more }, value: [NOW, String(found)] }];
    });
  const alerts = Object.entries(seen).flatMap(
    ([id, { alerts = [], isSilent, ruler }]): Sample[] => {
      const all = isSilent ? alerts : [...alerts, ["Watchdog", "none"] as const];
      const own = all.map(([alertname, severity, labels = {}]) => ({
        cluster: nameOf(id),
        alertname,
        severity,
        ...labels,
      }));
      const beat = { alertname: "GlobalWatchdog", severity: "none", ...RULER };
      return [...own, ...id === "196" && ruler !== "away" ? [beat] : []].map((metric) => ({
        metric: metric as Sample["metric"],
        value: [NOW, "1"],
      }));
    },
  );
  const weeks = Object.entries(seen).flatMap(([id, { week = {} }]) =>
    Object.entries(week).map(([persistentvolumeclaim, values]) => ({
      metric: { cluster: nameOf(id), namespace: "monitoring", persistentvolumeclaim },
      values,
    }))
  ) as unknown as Sample[];
  const hours = Object.entries(seen).flatMap(([id, { hours = [] }]): Sample[] =>
    hours.map(([alertname, severity, count]) => ({
      metric: { cluster: nameOf(id), alertname, severity },
      value: [NOW, String(count)],
    }))
  );
  const claim = { namespace: "monitoring", persistentvolumeclaim: "data" };
  const answers: [start: string, samples: Sample[]][] = [
    [QUESTIONS.seen, series(({ sample }) => sample)],
    [QUESTIONS.upload, series(({ upload }) => upload)],
    [QUESTIONS.logs, series(({ line }) => line)],
    [QUESTIONS.disk, series(({ used }) => used, claim)],
    [QUESTIONS.cert, series(({ days }) => days && NOW + days * 86400)],
    ["count by (cluster, edge", alerts],
    [WEEK.volumes, weeks],
    [WEEK.hours, hours],
    [WEEK.snapshots, series(({ snapshot }) => snapshot)],
    [WEEK.backups, series(({ backup }) => backup)],
    ["max by (cluster) (max_over_time(timestamp(up{", series(({ before }) => before)],
  ];
  const answer = (path: string) => {
    asked.push(path);
    const { pathname, searchParams } = new URL(path, "http://query");
    if (pathname === "/api/v1/stores") return { data: STORES };
    if (pathname === "/api/v1/rules") return { data: { groups: [{ rules }] } };
    const query = searchParams.get("query")!;
    const found = answers.find(([start]) => query.startsWith(start));
    assert.ok(found, query);
    return { data: { result: found[1] } };
  };
  return <T>(path: string) => Promise.resolve(answer(path) as { data: T });
}

/** Why {@link without} has no answer. */
export const REFUSAL = "422 expanding series: context deadline exceeded";

/** Why {@link partly} has only a part: the Store, which knows of every cluster. */
export const STORE_LOST =
  "receive series from Addr: 10.244.0.12:10901 MinTime: 1799000000000 MaxTime: 1799993600000: " +
  "rpc error: code = Unavailable desc = connection refused";

/** Why {@link partly} has only a part: the sidecar of an edge. */
export function sidecarLost(id: string): string {
  const { sidecar } = fleet[0]!.fleet.find((peer) => peer.id === id)!;
  return `receive series from Addr: ${sidecar} MinTime: 1799990000000 MaxTime: 9223372036854775807`;
}

/** A centre that warns with its answer to one path; undefined: to all. */
export function partly(path: string | undefined, ask: Ask, why = STORE_LOST): Ask {
  return async <T>(asked: string) => {
    const answer = await ask<T>(asked);
    return path === undefined || asked === path ? { ...answer, warnings: [why] } : answer;
  };
}

/** A centre that answers all but one path; undefined: none. */
export function without(path: string | undefined, ask: Ask): Ask {
  return (asked) => {
    if (path !== undefined && asked !== path) return ask(asked);
    const error = new DeployError("Cannot read", { exitCode: ExitCode.service, where: REFUSAL });
    return Promise.reject(error);
  };
}
