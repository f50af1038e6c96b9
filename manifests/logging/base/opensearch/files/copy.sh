#!/bin/bash
# What the image holds and the node needs writable or elsewhere: the configuration folder, the JVM's
# truststore, and the plugin repository-s3 if the image has it built in.
set -euo pipefail
home=/usr/share/opensearch

cp -Rf "$home/config/." /prepared/config/
cp -f /opensearch-config/opensearch.yml /prepared/config/opensearch.yml
# Where a cluster exists an empty volume is a lost one: its node waits for the others.
if [ -e /founded/cluster ]; then
  sed -i '/^cluster\.initial_cluster_manager_nodes:/d' /prepared/config/opensearch.yml
fi
# -L: some distributions make cacerts a link to a file of the system.
cp -fL "$home/jdk/lib/security/cacerts" /prepared/truststore/cacerts
chmod u+w /prepared/truststore/cacerts
if [ -d "$home/plugins/repository-s3" ]; then
  cp -Rf "$home/plugins/repository-s3" /prepared/plugins/
fi
