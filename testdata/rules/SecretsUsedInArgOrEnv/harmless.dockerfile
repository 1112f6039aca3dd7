FROM scratch
ENV PUBLIC_KEY=a monkey=b
ARG public_token
ARG SECRET_FILE AUTH_VERSION keys tokenizer
LABEL password=x
