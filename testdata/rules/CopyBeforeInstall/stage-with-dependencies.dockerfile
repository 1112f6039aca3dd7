FROM node:22 AS deps
COPY package.json .
RUN npm install && npm cache clean --force
FROM deps
COPY . .
RUN npm install && npm cache clean --force
