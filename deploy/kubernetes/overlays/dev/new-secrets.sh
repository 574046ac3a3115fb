#!/bin/sh
# Prints the three Secrets of this overlay with new random values. For `kubectl create -f -`, which refuses to put them over
# those that are there: agents that were sealed with one signing key are blocked under another.
set -eu
password=$(openssl rand -hex 24)
hash=$(printf %s "$password" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: playbooks-signing-key
  namespace: playbooks
stringData:
  signing-key: $(openssl rand -hex 32)
---
apiVersion: v1
kind: Secret
metadata:
  name: playbooks-redis
  namespace: playbooks
stringData:
  url: redis://playbooks:$password@playbooks-redis:6379/0
---
# Ours may use keys of ours, and of the server only what it tells about itself; the probes may say PING. The user default is
# off, and yet may do everything: Redis reads its append-only file as this user, and was seen to leave out what it may not do.
apiVersion: v1
kind: Secret
metadata:
  name: playbooks-redis-acl
  namespace: playbooks
stringData:
  users.acl: |
    user default off ~* &* +@all
    user probe on nopass resetkeys resetchannels -@all +ping
    user playbooks on #$hash resetchannels ~playbooks:* -@all +@read +@write +@connection +@scripting -@dangerous +time +info +wait +config|get
END
