// The steps that build a cluster, in order. 50-verify, which only looks, is none of them.
import type { Step } from "../lib/deploy/step.ts";
import { minio } from "./00-minio.ts";
import { ingress } from "./05-ingress.ts";
import { longhorn } from "./10-longhorn.ts";
import { prometheus } from "./20-prometheus.ts";
import { thanos } from "./30-thanos.ts";
import { logging } from "./40-logging.ts";

export const STEPS: Step[] = [minio, ingress, longhorn, prometheus, thanos, logging];
