FROM Upper:case
