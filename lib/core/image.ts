// Names of container images.

/** Whether a text is an image with a tag and no digest. */
export function isTagged(image: string): boolean {
  return /^[^\s@]+:[\w.-]+$/.test(image);
}

/** Whether a text is the digest of an image. */
export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}
