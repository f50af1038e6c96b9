// What the cases of make bench share, and how a case is measured.
import type { Cluster } from "../../lib/core/cluster.ts";
import { refuseInterrupted } from "../../lib/io/interrupt.ts";
import type { Manifest } from "../../lib/core/object.ts";
import type { Report } from "../../lib/io/report.ts";
import type { Figures, Ours, Sample } from "./measure.ts";
import type { Servers } from "./server.ts";

/** What all cases share. */
export interface Bench {
  servers: Servers;
  ours: Ours;
  kubectl: string;
  /** Path of kapp, which is measured where it is on PATH. */
  kapp?: string;
  fleet: Cluster[];
  /** The central cluster, which most cases are about, and what is deployed there. */
  cluster: Cluster;
  objects: Manifest[];
  /** The bench's own, absolute. */
  folder: string;
  figures: Figures;
  report: Report;
}

/** Runs a case and keeps its figures. */
export async function measure<T extends Partial<Sample>>(
  { figures, report }: Bench,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  refuseInterrupted();
  const sample = await work();
  figures.add(name, sample);
  const { requests, tree, own, atOnce } = sample;
  const about = [
    requests ? `${requests} requests` : "",
    tree ? `${tree.toFixed(0)} MiB` : "",
    atOnce ? `${own!.toFixed(0)} MiB, ${atOnce} kubectl at once` : "",
  ].filter(Boolean).join(", ");
  report.phase(name, sample.seconds ?? 0, about);
  return sample;
}

/** What the work took. */
export async function timed(work: () => Promise<unknown>): Promise<{ seconds: number }> {
  const started = performance.now();
  await work();
  return { seconds: (performance.now() - started) / 1000 };
}
