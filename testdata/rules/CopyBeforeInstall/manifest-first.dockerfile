FROM node:22
COPY package*.json ./
RUN npm ci && npm cache clean --force
COPY . .
RUN npm run build
RUN npm install
FROM golang:1.25
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build ./...
