FROM node:22
COPY . .
RUN npm ci
FROM python:3.13
COPY ./ /app
RUN pip install --no-cache-dir -r requirements.txt
FROM golang:1.25
ADD . /src
RUN go mod download && go build ./...
