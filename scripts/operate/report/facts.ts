// What a report has found, before anything is made of it; docs/schema/report.json describes it.
import type { Firing } from "../centre/alerts.ts";
import type { Age, Health } from "../centre/status.ts";
import type { Filling } from "../centre/week.ts";

/** A cluster, with what `make status` says of it. */
export interface ClusterLine extends Health {
  snapshotAge: Age;
  backupAge: Age;
  /** So many changes a deploy would make; null: nobody could ask. */
  drift: number | null;
  /** Columns in which something is wrong. */
  wrong: string[];
}

/** Certificates of one name that end together; whose, and when in ISO 8601. */
export interface Ending {
  clusters: string[];
  whose: string;
  ends: string;
  soon: boolean;
}

/** All of it, the worst first. */
export interface FleetFacts {
  clusters: ClusterLine[];
  volumes: Filling[];
  certificates: Ending[];
  firing: Firing[];
}
