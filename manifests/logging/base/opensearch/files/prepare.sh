#!/bin/bash
# Plugin, keystore and truststore. Runs after copy.sh, with the plugin folder mounted where the
# installer writes; all of it is made afresh at every start of the pod.
set -euo pipefail
home=/usr/share/opensearch
export OPENSEARCH_PATH_CONF=/prepared/config

# The emptyDir outlives a failed try; the installer refuses a plugin that is there. What was installed
# once is kept on the volume, so that a later start needs nobody outside.
plugins=$home/plugins
version=$(basename "$home"/lib/opensearch-[0-9]*.jar .jar)
kept=/data/plugins/$version${S3_PLUGIN:+-${S3_PLUGIN##*=}} # another pin is another plugin
if [ ! -d "$plugins/repository-s3" ] && [ -d "$kept" ]; then
  rm -rf "$plugins/.new"
  cp -R "$kept" "$plugins/.new"
  mv "$plugins/.new" "$plugins/repository-s3"
elif [ ! -d "$plugins/repository-s3" ]; then
  source=repository-s3 # the official release, which the installer checks by its signature
  if [ -n "$S3_PLUGIN" ]; then
    source=file:///tmp/repository-s3.zip
    authority=()
    if [ -f /s3-ca/ca.crt ]; then # beside the public CAs, which images keep in different places
      cat /etc/ssl/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt /s3-ca/ca.crt \
        >/tmp/authorities.pem 2>/dev/null || true
      authority=(--cacert /tmp/authorities.pem)
    fi
    curl --fail --silent --show-error --location --retry 3 "${authority[@]}" \
      --output /tmp/repository-s3.zip "${S3_PLUGIN%#sha256=*}"
    echo "${S3_PLUGIN##*#sha256=}  /tmp/repository-s3.zip" | sha256sum --check --quiet
  fi
  "$home/bin/opensearch-plugin" install --batch "$source"
  rm -rf /data/plugins
  mkdir /data/plugins
  cp -R "$plugins/repository-s3" "$kept.new"
  sync
  mv "$kept.new" "$kept"
fi

# The only place that the plugin reads credentials from.
rm -f "$OPENSEARCH_PATH_CONF/opensearch.keystore"
"$home/bin/opensearch-keystore" create
for key in s3.client.default.access_key s3.client.default.secret_key; do
  "$home/bin/opensearch-keystore" add --stdin --force "$key" <"/s3-config/$key"
done

# keytool takes one certificate per file; a CA file may hold a chain.
if [ -f /s3-ca/ca.crt ]; then
  rm -f /tmp/ca-*.pem
  count=0
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    if [ "$line" = "-----BEGIN CERTIFICATE-----" ]; then count=$((count + 1)); fi
    if [ "$count" -gt 0 ]; then echo "$line" >>"/tmp/ca-$count.pem"; fi
  done </s3-ca/ca.crt
  for ((number = 1; number <= count; number++)); do
    "$home/jdk/bin/keytool" -delete -alias "s3-ca-$number" \
      -keystore /prepared/truststore/cacerts -storepass changeit >/dev/null 2>&1 || true
    "$home/jdk/bin/keytool" -importcert -noprompt -trustcacerts -alias "s3-ca-$number" \
      -file "/tmp/ca-$number.pem" -keystore /prepared/truststore/cacerts -storepass changeit
  done
fi
