// How work is refused, in a test that is about that.
import assert from "node:assert/strict";
import { DeployError } from "../../lib/core/error.ts";

/** What the work is refused with; fails where it is not, or breaks in another way. */
export async function refusal(work: Promise<unknown>): Promise<DeployError> {
  const error = await work.then(() => undefined, (error) => error);
  assert.ok(error instanceof DeployError, `not refused: ${error}`);
  return error;
}
