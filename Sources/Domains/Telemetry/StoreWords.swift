import TSDB

// Two modules have words of these names; here those of the store get names of their own.
typealias StoreBatch = Batch
typealias StoredExemplar = Exemplar
typealias StoredMetadata = MetricMetadata
