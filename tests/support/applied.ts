// Live objects as a list of the API server shows them after an apply of ours: with the managers of fields.
import { type FieldManager, type Fields } from "../../lib/apply/managers.ts";
import { isFields, type Manifest, OWNER } from "../../lib/core/object.ts";

/** The object with our fields: all that it has, lists of named items by name, other lists as one value. */
export function applied(object: Manifest, ...others: Partial<FieldManager>[]): Manifest {
  const { apiVersion: _, kind: __, status: ___, metadata, ...rest } = object;
  const { labels, annotations } = metadata;
  const fieldsV1 = fieldsOf({ ...rest, metadata: { labels, annotations } });
  const own = { manager: OWNER, operation: "Apply", fieldsV1 };
  return { ...object, metadata: { ...metadata, managedFields: [own, ...others] } };
}

function fieldsOf(value: unknown): Fields {
  if (Array.isArray(value) && value.every((item) => isFields(item) && "name" in item)) {
    return Object.fromEntries(
      value.map((item) => [`k:${JSON.stringify({ name: item.name })}`, {
        ".": {},
        ...fieldsOf(item),
      }]),
    );
  }
  if (!isFields(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter(([, inner]) => inner !== undefined)
      .map(([name, inner]) => [`f:${name}`, fieldsOf(inner)]),
  );
}
