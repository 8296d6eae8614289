// BlobsTests
