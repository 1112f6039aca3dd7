FROM debian:12
RUN apt-get update && apt-get install -y curl && apt-get clean
RUN apk add curl
RUN dnf -y install x
RUN pip install flask
RUN python3 -m pip install flask
RUN npm ci
RUN yarn
RUN ["apt-get", "update"]
RUN <<EOF
set -e
apt-get update
apt-get install -y x
EOF
