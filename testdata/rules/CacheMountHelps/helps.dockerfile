FROM golang:1.25
RUN go mod download
RUN cargo build --release && cargo build
RUN mvn package
