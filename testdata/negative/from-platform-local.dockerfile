FROM --platform=local scratch
