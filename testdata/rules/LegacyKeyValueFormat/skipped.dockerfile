FROM scratch
# check=skip=LegacyKeyValueFormat
ENV a b
LABEL d e
