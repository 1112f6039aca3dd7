FROM debian:12
RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*
RUN apk --no-cache add curl
RUN apk update && apk add x && rm -rf /var/cache/apk/*
RUN dnf -y install x && dnf clean all
RUN yum install x && rm -rf /var/cache/yum
RUN pip install --no-cache-dir flask
RUN npm ci && npm cache clean --force
RUN yarn install && yarn cache clean
RUN apt-get install -y curl
