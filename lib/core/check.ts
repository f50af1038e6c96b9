// What should be true of a running system: what is asked of whom, and what may be wrong.
import type { Cluster, Role } from "./cluster.ts";
import type { Manifest } from "./object.ts";

/** A Service and one of its ports, by name or number. */
export interface ServicePort {
  namespace: string;
  name: string;
  port: string | number;
}

/** An open way into one cluster; `await using` closes it. */
export interface ClusterProxy extends AsyncDisposable {
  /**
   * As the global fetch, to a path of a Service. The answer may also be the API server's own (a
   * Status, mostly 503 while the Service has no ready pod).
   * @throws {DeployError} exit 5 when the API server cannot be reached, or after 60 s of silence
   * unless `init` has a signal of its own.
   */
  fetch(service: ServicePort, path: string, init?: RequestInit): Promise<Response>;
}

/** One thing that is wrong. */
export interface Problem {
  /** What is wrong and where, as a sentence. */
  what: string;
  /** The likely cause. */
  cause: string;
  /** The next command or edit. */
  fix: string;
  /** Seconds from the first look in which it may still go by itself, where that is known. */
  patience?: number;
}

/** Notes a fact for the operator beside the verdict: how long, how much. */
export type Tell = (fact: string) => void;

/** What a check looks at. */
export interface Subject {
  cluster: Cluster;
  /** All clusters of the site. */
  fleet: Cluster[];
  /** Objects of all steps. */
  objects: Manifest[];
  /** The way to the Services of the cluster; opened by the first check that needs it. */
  proxy: () => Promise<ClusterProxy>;
}

/** One thing that should be true of a cluster. */
export interface Check {
  /** What is shown to be true: `Prometheus targets`. */
  name: string;
  /** The way of the data that is shown: `exporters -> Prometheus`. */
  hop: string;
  /** true: it needs running pods. */
  live: boolean;
  /** The only role of a cluster that it is about; default: every one. */
  role?: Role;
  /** The program it needs, as STAND_INS names it; only for one that may be a stand-in. */
  program?: string;
  /** What is wrong; nothing when all is well. A DeployError thrown here is one problem. */
  run: (subject: Subject, tell: Tell) => Promise<Problem[]>;
}
