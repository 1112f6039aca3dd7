FROM node:22 AS src
FROM node:22
COPY --from=src . .
RUN npm ci && npm cache clean --force
